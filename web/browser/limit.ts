// The factor by which timeouts grow on a slow machine. test/pace measures it.
const SLOWDOWN = Math.max(1, Number(process.env.HUSK_TEST_SLOWDOWN ?? 1));

/** limit converts a timeout in seconds on the reference machine to milliseconds on this machine. */
export const limit = (seconds: number) => Math.ceil(seconds * 1000 * SLOWDOWN);
