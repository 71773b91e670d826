import { SHAPE_BENCHES, testQuickly } from "../support/bench_process.ts";

testQuickly(SHAPE_BENCHES);
