// SPDX-License-Identifier: Apache-2.0

import { ApiError, client, data, type Image, idempotent, type PodCreate } from "../../api/client";

const POLL_INTERVAL = 700; // milliseconds
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** missingImages are the images of the pod that are not imported yet. */
export const missingImages = (pod: PodCreate, known: Image[]) =>
  [...new Set([...(pod.spec.initContainers ?? []), ...pod.spec.containers].map((c) => c.image.trim()))].filter(
    (reference) => reference && !ID.test(reference) && !known.some((i) => i.reference === reference && i.state === "Ready"),
  );

/**
 * importImages imports every missing image of the pod, like `husk run`, and reports its progress. It logs in to registries with the logins in a secret, if
 * one is given. It throws an ApiError if an import fails.
 */
export async function importImages(pod: PodCreate, known: Image[], secret: string, report: (progress: string) => void) {
  for (const reference of missingImages(pod, known)) {
    report(`Importing ${reference}`);
    const body = { reference, ...(secret && { registrySecrets: [secret] }) };
    let image = await data(client.POST("/v1/images", { params: { header: idempotent() }, body }));
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
