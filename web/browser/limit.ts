// SPDX-License-Identifier: Apache-2.0

// The factor by which timeouts grow on a slow machine. test/pace measures it.
const SLOWDOWN = Math.max(1, Number(process.env.HUSK_TEST_SLOWDOWN ?? 1));

// Other tests run at the same time, as in test/pace.
const SIDE_BY_SIDE = 3;

/** limit converts a timeout in seconds, for a test that is alone on the reference machine, to milliseconds on this machine. */
export const limit = (seconds: number) => Math.ceil(seconds * 1000 * SIDE_BY_SIDE * SLOWDOWN);
