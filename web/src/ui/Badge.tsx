// SPDX-License-Identifier: Apache-2.0

import styles from "./Badge.module.css";

// Shows a state as a symbol and a word, so that it does not depend on colour.
const LOOKS: Record<string, [mark: string, tone: string]> = {
  Pending: ["◌", "wait"],
  Starting: ["◐", "info"],
  Running: ["●", "good"],
  Succeeded: ["✓", "good"],
  Failed: ["✕", "bad"],
  Unknown: ["?", "warn"],
  Stopped: ["■", "wait"],
  Stopping: ["◑", "wait"],
  Creating: ["◌", "wait"],
  Available: ["○", "good"],
  InUse: ["●", "good"],
  Deleting: ["◑", "wait"],
  Importing: ["◐", "info"],
  Ready: ["●", "good"],
  Waiting: ["◌", "wait"],
  Exited: ["✓", "wait"],
  Joining: ["◌", "info"],
  Suspect: ["?", "warn"],
  Lost: ["✕", "bad"],
  Fencing: ["◑", "bad"],
  Fenced: ["⊘", "bad"],
  Recovering: ["◐", "info"],
  Cordoned: ["⊘", "warn"],
  Draining: ["◑", "warn"],
  Drained: ["○", "warn"],
  Placed: ["●", "good"],
  Refused: ["✕", "bad"],
  Undecided: ["◌", "wait"],
  CrashLoopBackOff: ["↻", "bad"],
  ContainerFailed: ["✕", "bad"],
  NotReady: ["◐", "warn"],
  StartFailed: ["✕", "warn"],
  MachineDied: ["✕", "warn"],
  GuestSilent: ["?", "warn"],
  LeaseExpired: ["✕", "warn"],
};

/** Badge shows a state. A reason that has no look of its own gets that of its phase. */
export function Badge({ state, phase = state, title }: { state: string; phase?: string; title?: string }) {
  const [mark, tone] = LOOKS[state] ?? LOOKS[phase] ?? ["·", "wait"];
  return (
    <span className={`${styles.badge} ${styles[tone]}`} title={title}>
      <span aria-hidden="true">{mark}</span> {state === "InUse" ? "In use" : state}
    </span>
  );
}
