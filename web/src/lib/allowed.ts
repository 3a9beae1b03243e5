// SPDX-License-Identifier: Apache-2.0

/** ALLOWED says in which states the API accepts what. A page disables the other actions and says why. */
const ALLOWED = {
  pod: {
    start: ["Succeeded", "Failed", "Stopped"],
    stop: ["Pending", "Starting", "Running", "Unknown"],
    restart: ["Starting", "Running", "Unknown"],
    resize: ["Pending", "Starting", "Running", "Succeeded", "Failed", "Stopped"],
    cancel: ["Pending", "Starting"], // its start
    delete: ["Pending", "Starting", "Running", "Unknown", "Succeeded", "Failed", "Stopped", "Stopping"],
  },
  volume: {
    grow: ["Available", "InUse"],
    classify: ["Creating", "Available", "InUse"],
    schedule: ["Creating", "Available", "InUse"],
    snapshot: ["Available", "InUse"],
    restore: ["Available"],
    cancel: ["Creating"], // its creation
    delete: ["Creating", "Available"],
  },
  snapshot: {
    clone: ["Ready"],
    restore: ["Ready"],
    download: ["Ready"],
    cancel: ["Creating"], // its creation
    delete: ["Creating", "Ready", "Failed"],
  },
  image: {
    run: ["Ready"],
    retry: ["Failed"],
    cancel: ["Importing"], // its import
    delete: ["Importing", "Ready", "Failed"],
  },
} as const satisfies Record<string, Record<string, string[]>>;

/** BECAUSE says what a state means for somebody who wants something else. */
const BECAUSE: Record<keyof typeof ALLOWED, Record<string, string>> = {
  pod: {
    Pending: "does not run yet",
    Starting: "starts already",
    Running: "runs already",
    Unknown: "is on a node that does not respond",
    Succeeded: "has ended",
    Failed: "has ended",
    Stopping: "is stopping",
    Stopped: "is stopped",
  },
  volume: { Creating: "is not created yet", InUse: "is in use by a pod", Available: "is not in use", Deleting: "is being deleted" },
  snapshot: { Creating: "is not complete yet", Failed: "has failed", Ready: "is complete", Deleting: "is being deleted" },
  image: { Importing: "is being imported", Failed: "could not be imported", Ready: "is imported", Deleting: "is being deleted" },
};

type Allowed = typeof ALLOWED;

/** whyNot returns why the API refuses an action on an object in this state, and undefined if it accepts it. */
export function whyNot<K extends keyof Allowed>(kind: K, action: keyof Allowed[K], state: string): string | undefined {
  const states = ALLOWED[kind][action] as readonly string[];
  return states.includes(state) ? undefined : `The ${kind} ${BECAUSE[kind][state] ?? `is ${state}`}.`;
}
