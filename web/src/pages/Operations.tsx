// SPDX-License-Identifier: Apache-2.0

import { useMemo } from "react";
import type { Image, Pod, Snapshot, Volume } from "../api/client";
import { useLive } from "../api/live";
import { useHasRole } from "../api/role";
import { ofImage, ofPod, ofSnapshot, ofVolume, operationsOf } from "../lib/operations";
import { OperationList } from "../ui/OperationList";

/** Operations shows what Husk does with the tenant's objects in the background. */
export function Operations() {
  const canChange = useHasRole("developer");
  const images = useLive<Image>("images");
  const volumes = useLive<Volume>("volumes");
  const snapshots = useLive<Snapshot>("snapshots");
  const pods = useLive<Pod>("pods");
  const lists = [images, volumes, snapshots, pods];
  const items = useMemo(
    () => [
      ...operationsOf(images.items, ofImage),
      ...operationsOf(volumes.items, ofVolume),
      ...operationsOf(snapshots.items, ofSnapshot),
      ...operationsOf(pods.items, ofPod),
    ],
    [images.items, volumes.items, snapshots.items, pods.items],
  );
  return (
    <OperationList
      list={{ items, synced: lists.every((l) => l.synced), broken: lists.find((l) => l.broken)?.broken }}
      canChange={canChange}
      empty={
        <p>
          Imports of images, copies of volumes and snapshots, starts, stops and deletions are listed here while they are in progress.
          Imports that have failed stay until they are retried or deleted.
        </p>
      }
    />
  );
}
