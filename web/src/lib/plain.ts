// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what they are
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[ -/]*[0-~])|[\u0000-\u0008\u000b-\u001f\u007f]/g;

/** plain leaves out what would steer a terminal (ECMA-48): colours, titles, moves of the cursor. */
export const plain = (s: string) => s.replace(ESCAPES, "");
