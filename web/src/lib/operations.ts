// SPDX-License-Identifier: Apache-2.0

// What Husk does in the background. The API has no operations of its own: the states of objects say what is in progress.
import type { Image, Node, Pod, Schemas, Snapshot, Volume } from "../api/client";
import { whyNot } from "./allowed";
import { plural } from "./format";

/** Operation is something that Husk does with an object in the background. */
export interface Operation {
  kind: "pod" | "volume" | "snapshot" | "image" | "node"; // of the object
  id: string;
  name: string;
  page: string; // ID of the object whose page shows it: that of a snapshot is its volume's
  what: "import" | "copy" | "creation" | "deletion" | "start" | "stop" | "drain";
  failed?: boolean; // it has ended, and can only be retried
  share?: number; // from 0 to 1, if it is known how far it is
  message?: string;
  since?: string;
  notCanceled?: string; // why it cannot be canceled
}

const NAMES: Record<Operation["kind"], string> = { pod: "Pod", volume: "Volume", snapshot: "Snapshot", image: "Image", node: "Node" };

/** refOf names the object of an operation. */
export const refOf = (o: Operation) => `${NAMES[o.kind]} ${o.name}`;

export function ofPod(p: Pod): Operation | undefined {
  const common = { kind: "pod", id: p.id, name: p.name, page: p.id, message: p.status.message } as const;
  const notCanceled = whyNot("pod", "cancel", p.status.phase);
  if (p.deletionRequestedAt) return { ...common, what: "deletion", since: p.deletionRequestedAt, notCanceled: "The pod is being deleted." };
  switch (p.status.phase) {
    case "Pending":
    case "Starting":
      return { ...common, what: "start", notCanceled };
    case "Stopping":
      return { ...common, what: "stop", notCanceled };
    default:
      return undefined;
  }
}

export function ofVolume(v: Volume): Operation | undefined {
  const common = { kind: "volume", id: v.id, name: v.name, page: v.id, message: v.message } as const;
  const notCanceled = whyNot("volume", "cancel", v.state);
  switch (v.state) {
    case "Creating":
      return v.progressPercent === undefined
        ? { ...common, what: "creation", since: v.createdAt, notCanceled }
        : { ...common, what: "copy", since: v.createdAt, share: v.progressPercent / 100, notCanceled };
    case "Deleting":
      return { ...common, what: "deletion", notCanceled };
    default:
      return undefined;
  }
}

export function ofSnapshot(s: Snapshot): Operation | undefined {
  const common = { kind: "snapshot", id: s.id, name: s.name, page: s.volumeId, message: s.message } as const;
  const notCanceled = whyNot("snapshot", "cancel", s.state);
  switch (s.state) {
    case "Creating":
      return { ...common, what: "copy", since: s.createdAt, share: s.progressPercent / 100, notCanceled };
    case "Deleting":
      return { ...common, what: "deletion", notCanceled };
    default:
      return undefined;
  }
}

export function ofImage(i: Image): Operation | undefined {
  const common = { kind: "image", id: i.id, name: i.reference, page: i.id, message: i.message } as const;
  const notCanceled = whyNot("image", "cancel", i.state);
  const fetched = i.progress && i.progress.totalBytes > 0 ? i.progress.fetchedBytes / i.progress.totalBytes : undefined;
  switch (i.state) {
    case "Importing":
      return { ...common, what: "import", since: i.createdAt, share: fetched, notCanceled };
    case "Failed":
      return { ...common, what: "import", since: i.createdAt, failed: true, notCanceled };
    case "Deleting":
      return { ...common, what: "deletion", notCanceled };
    default:
      return undefined;
  }
}

/** ofDrain makes the operation of a node that is being drained. */
export function ofDrain(n: Node, d?: Schemas["Drain"]): Operation {
  const common = { kind: "node", id: n.id, name: n.name, page: n.id, what: "drain" } as const;
  if (!d) return common;
  const all = d.moved + d.pods;
  return {
    ...common,
    since: d.startedAt,
    share: all > 0 ? d.moved / all : undefined,
    message: `${plural(d.pods, "pod")} left, ${d.moving} moving, ${d.blocked.length} blocked`,
  };
}

/** operationsOf returns what is in progress with objects. */
export const operationsOf = <T>(objects: T[], of: (object: T) => Operation | undefined): Operation[] =>
  objects.map(of).filter((o): o is Operation => o !== undefined);
