/** The store cannot be opened, and its file stays as it is: the server goes on without. */
export class StoreUnusableError extends Error {
  override name = "StoreUnusableError";
}

/** The store is damaged, or not one of this model or version: the first write sets it aside. */
export class UnfitStoreError extends Error {
  override name = "UnfitStoreError";
  constructor(readonly kind: "foreign" | "damaged", reason: string) {
    super(reason);
  }
}
