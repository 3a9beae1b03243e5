// SPDX-License-Identifier: Apache-2.0

/** unusedFeeds returns the keys of the oldest feeds above the limit. It never returns a feed that a page still uses. */
export function unusedFeeds(feeds: Map<string, { used: boolean }>, most: number): string[] {
  const unused = [...feeds].filter(([, feed]) => !feed.used).map(([key]) => key);
  return unused.slice(0, Math.max(0, feeds.size - most));
}
