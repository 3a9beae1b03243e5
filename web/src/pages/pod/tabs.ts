// SPDX-License-Identifier: Apache-2.0

export const TABS = ["overview", "metrics", "logs", "terminal", "console", "events", "placement", "spec"] as const;
export type Tab = (typeof TABS)[number];
