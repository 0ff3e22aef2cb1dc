const PROTOCOLS: readonly string[] = ["http:", "https:", "mailto:"];

/**
 * Return the address that a model's link may lead to; undefined where the link is to be shown as text.
 *
 * Only absolute addresses: a model has no business with the paths of the page that shows its words.
 */
export function safeHref(href: string): string | undefined {
  try {
    const url = new URL(href);
    return PROTOCOLS.includes(url.protocol) ? url.href : undefined;
  } catch {
    return undefined;
  }
}
