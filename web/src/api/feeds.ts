/** unusedFeeds names the oldest feeds beyond the limit. A feed that a page still uses is not among them. */
export function unusedFeeds(feeds: Map<string, { used: boolean }>, most: number): string[] {
  const unused = [...feeds].filter(([, feed]) => !feed.used).map(([key]) => key);
  return unused.slice(0, Math.max(0, feeds.size - most));
}
