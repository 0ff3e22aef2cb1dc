/**
 * Return a random id of 128 bits.
 *
 * `crypto.randomUUID` exists in secure contexts only; a page on plain HTTP in
 * a local network has `getRandomValues` still.
 */
export function newId(
  source: Pick<Crypto, "getRandomValues"> & Partial<Pick<Crypto, "randomUUID">> = crypto,
): string {
  if (source.randomUUID !== undefined) return source.randomUUID();
  const bytes = source.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
