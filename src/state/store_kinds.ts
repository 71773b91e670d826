/** One kind of store that Quire keeps in a file of its own. */
export interface StoreKind {
  /** What it is, for people. */
  readonly name: string;
  /** The flag that says where it lies. */
  readonly flag: string;
  /** Its file in Quire's own state directory. */
  readonly fileName: string;
  /**
   * SQLite's `application_id` of its files, bytes 68 to 71 of the header: it tells a store of ours,
   * also a damaged one, from everybody else's files.
   */
  readonly mark: number;
}

/** Hot prefixes and the deployment's secret. */
export const PREFIX_STORE: StoreKind = {
  name: "prefix store",
  flag: "--prefix-store",
  fileName: "prefixes.sqlite3",
  mark: 0x51724b50, // "QrKP"
};

/** Times of kernels. */
export const TUNING_STORE: StoreKind = {
  name: "tuning store",
  flag: "--tuning-store",
  fileName: "tuning.sqlite3",
  mark: 0x51724b54, // "QrKT"
};

/** Every kind there is. */
export const STORE_KINDS: readonly StoreKind[] = [PREFIX_STORE, TUNING_STORE];
