// SPDX-License-Identifier: Apache-2.0

/** copyText copies text to the clipboard and reports whether the browser allowed it. On plain HTTP there is no navigator.clipboard, but the older command still works. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    let copied = false;
    const fill = (e: ClipboardEvent) => {
      e.clipboardData?.setData("text/plain", text);
      e.preventDefault();
      copied = true;
    };
    document.addEventListener("copy", fill, true);
    try {
      return document.execCommand("copy") && copied;
    } catch {
      return false;
    } finally {
      document.removeEventListener("copy", fill, true);
    }
  }
}
