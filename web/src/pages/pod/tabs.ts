export const TABS = ["overview", "metrics", "logs", "terminal", "console", "events", "placement", "spec"] as const;
export type Tab = (typeof TABS)[number];
