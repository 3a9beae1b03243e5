// SPDX-License-Identifier: Apache-2.0

import { type Operation, ofImage, ofPod, ofSnapshot, ofVolume } from "../lib/operations";
import { ApiError, client, type idempotent } from "./client";

const TRIES = 5; // an object in progress changes several times a second

/** inProgress does something with the object of an operation, unless the operation has ended meanwhile: the person has seen it some time ago. */
async function inProgress<T>(
  o: Operation,
  get: () => Promise<{ data?: T; response: Response }>,
  operationOf: (object: Exclude<T, undefined>) => Operation | undefined,
  act: (header: { "If-Match"?: string }) => Promise<unknown>,
) {
  for (let left = TRIES; ; left--) {
    const { data, response } = await get();
    if (operationOf(data as Exclude<T, undefined>)?.what !== o.what)
      throw new ApiError({ code: "conflict", detail: `The ${o.what} of ${o.name} has ended meanwhile. Nothing was canceled.` });
    try {
      await act({ "If-Match": response.headers.get("ETag") ?? undefined });
      return;
    } catch (err) {
      if (!(err instanceof ApiError && err.code === "precondition_failed" && left > 1)) throw err;
    }
  }
}

/** cancelOperation ends an operation: what is being created is deleted, a pod that starts is stopped, and a drain ends. */
export function cancelOperation(o: Operation): Promise<unknown> {
  switch (o.kind) {
    case "pod": {
      const path = { podId: o.id };
      return inProgress(
        o,
        () => client.GET("/v1/pods/{podId}", { params: { path } }),
        ofPod,
        (header) => client.POST("/v1/pods/{podId}/stop", { params: { path, header } }),
      );
    }
    case "volume": {
      const path = { volumeId: o.id };
      return inProgress(
        o,
        () => client.GET("/v1/volumes/{volumeId}", { params: { path } }),
        ofVolume,
        (header) => client.DELETE("/v1/volumes/{volumeId}", { params: { path, header } }),
      );
    }
    case "snapshot": {
      const path = { snapshotId: o.id };
      return inProgress(
        o,
        () => client.GET("/v1/snapshots/{snapshotId}", { params: { path } }),
        ofSnapshot,
        (header) => client.DELETE("/v1/snapshots/{snapshotId}", { params: { path, header } }),
      );
    }
    case "image": {
      const path = { imageId: o.id };
      return inProgress(
        o,
        () => client.GET("/v1/images/{imageId}", { params: { path } }),
        ofImage,
        (header) => client.DELETE("/v1/images/{imageId}", { params: { path, header } }),
      );
    }
    case "node":
      return client.DELETE("/v1/admin/nodes/{nodeId}/drain", { params: { path: { nodeId: o.id } } });
  }
}

/** retryImport imports an image again, without a login. */
export const retryImport = (reference: string, header: ReturnType<typeof idempotent>) =>
  client.POST("/v1/images", { params: { header }, body: { reference } });
