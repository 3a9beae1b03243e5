// SPDX-License-Identifier: Apache-2.0

/** Choice is how a list is shown, as in the address of its page. */
export interface Choice {
  q?: string; // the text to look for
  sort?: string; // a column; "-" before it: the highest first
  hide?: string; // columns, separated by commas
}

const text = (value: unknown) => (value === undefined || value === "" ? undefined : String(value));

/** readChoice reads the search part of an address, which anybody can write. */
export const readChoice = (s: Record<string, unknown>): Choice => ({ q: text(s.q), sort: text(s.sort), hide: text(s.hide) });
