// SPDX-License-Identifier: Apache-2.0

// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches control characters
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[ -/]*[0-~])|[\u0000-\u0008\u000b-\u001f\u007f]/g;

/** plain removes the escape sequences of terminals (ECMA-48): colours, titles and cursor movements. */
export const plain = (s: string) => s.replace(ESCAPES, "");
