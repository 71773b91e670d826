/** There is no store to be had at this path, whose file stays as it is: the server goes on without. */
export class StoreUnusableError extends Error {
  override name = "StoreUnusableError";
}

/** The file is not a store of ours, or not one of this model: it is set aside. */
export class UnfitStoreError extends Error {
  override name = "UnfitStoreError";
  constructor(readonly kind: "foreign" | "damaged", reason: string) {
    super(reason);
  }
}
