// SPDX-License-Identifier: Apache-2.0

import { ApiError, client, data, type Image, idempotent, type PodCreate } from "../../api/client";

const POLL_INTERVAL = 700; // milliseconds
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** importImages imports every missing image of the pod, like `husk run`, and reports its progress. It throws an ApiError if an import fails. */
export async function importImages(pod: PodCreate, known: Image[], report: (progress: string) => void) {
  for (const reference of new Set([...(pod.spec.initContainers ?? []), ...pod.spec.containers].map((c) => c.image.trim()))) {
    if (!reference || ID.test(reference) || known.some((i) => i.reference === reference && i.state === "Ready")) continue;
    report(`Importing ${reference}`);
    let image = await data(client.POST("/v1/images", { params: { header: idempotent() }, body: { reference } }));
    while (image.state === "Importing") {
      await new Promise((done) => setTimeout(done, POLL_INTERVAL));
      const { progress } = image;
      report(
        `Importing ${reference}${progress && progress.totalBytes > 0 ? `, ${Math.floor((100 * progress.fetchedBytes) / progress.totalBytes)} %` : ""}`,
      );
      image = await data(client.GET("/v1/images/{imageId}", { params: { path: { imageId: image.id } } }));
    }
    if (image.state !== "Ready")
      throw new ApiError({
        code: "image_not_imported",
        field: "spec.containers",
        detail: `the import of ${reference} failed: ${image.message ?? image.state}`,
      });
  }
}
