// SPDX-License-Identifier: Apache-2.0

/** saveAs lets the browser download a file. */
export function saveAs(blob: Blob, name: string) {
  const a = document.createElement("a");
  a.href = URL.createObjectURL(blob);
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 10_000);
}
