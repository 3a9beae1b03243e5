// SPDX-License-Identifier: Apache-2.0

import type { Operation } from "../lib/operations";
import { client, type idempotent } from "./client";

/** cancelOperation ends an operation: what is being created is deleted, a pod that starts is stopped, and a drain ends. */
export function cancelOperation(o: Operation) {
  switch (o.kind) {
    case "pod":
      return client.POST("/v1/pods/{podId}/stop", { params: { path: { podId: o.id } } });
    case "volume":
      return client.DELETE("/v1/volumes/{volumeId}", { params: { path: { volumeId: o.id } } });
    case "snapshot":
      return client.DELETE("/v1/snapshots/{snapshotId}", { params: { path: { snapshotId: o.id } } });
    case "image":
      return client.DELETE("/v1/images/{imageId}", { params: { path: { imageId: o.id } } });
    case "node":
      return client.DELETE("/v1/admin/nodes/{nodeId}/drain", { params: { path: { nodeId: o.id } } });
  }
}

/** retryImport imports an image again, without a login. */
export const retryImport = (reference: string, header: ReturnType<typeof idempotent>) =>
  client.POST("/v1/images", { params: { header }, body: { reference } });
