/**
 * Copy a text to the clipboard, and return whether that worked.
 *
 * `navigator.clipboard` exists in secure contexts only; a page on plain HTTP in a local network copies by selection.
 */
export async function copyText(text: string): Promise<boolean> {
  try {
    // Absent outside of secure contexts, whatever its declared type says.
    if ("clipboard" in navigator) {
      await navigator.clipboard.writeText(text);
      return true;
    }
    return copyBySelection(text);
  } catch {
    return false;
  }
}

function copyBySelection(text: string): boolean {
  const area = document.createElement("textarea");
  const focused = document.activeElement;
  area.value = text;
  area.setAttribute("aria-hidden", "true");
  area.className = "tw-hidden";
  document.body.append(area);
  area.select();
  // Deprecated, and the only way without a secure context.
  // eslint-disable-next-line @typescript-eslint/no-deprecated
  const copied = document.execCommand("copy");
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return copied;
}
