import { DEMO_BENCHES, testQuickly } from "../support/bench_process.ts";

testQuickly(DEMO_BENCHES);
