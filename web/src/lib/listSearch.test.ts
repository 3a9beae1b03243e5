// SPDX-License-Identifier: Apache-2.0

import { expect, test } from "vitest";
import { readChoice } from "./listSearch";

test("an address that somebody wrote is read as text", () => {
  expect(readChoice({ q: 77, sort: "-Age", hide: "Labels,Age", other: 1 })).toEqual({ q: "77", sort: "-Age", hide: "Labels,Age" });
  expect(readChoice({ q: "", sort: undefined })).toEqual({ q: undefined, sort: undefined, hide: undefined });
});
