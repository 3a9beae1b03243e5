import { ApiError, client, data, type Image, idempotent, type PodCreate } from "../../api/client";

const ASK_EVERY = 700; // milliseconds
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** importImages has every image of the order imported, as `husk run` does, and tells what it waits for. It throws an ApiError when one cannot be. */
export async function importImages(pod: PodCreate, known: Image[], tell: (doing: string) => void) {
  for (const reference of new Set(pod.spec.containers.map((c) => c.image.trim()))) {
    if (!reference || ID.test(reference) || known.some((i) => i.reference === reference && i.state === "Ready")) continue;
    tell(`Importing ${reference}`);
    let image = await data(client.POST("/v1/images", { params: { header: idempotent() }, body: { reference } }));
    while (image.state === "Importing") {
      await new Promise((done) => setTimeout(done, ASK_EVERY));
      const { progress } = image;
      tell(
        `Importing ${reference}${progress && progress.totalBytes > 0 ? `, ${Math.floor((100 * progress.fetchedBytes) / progress.totalBytes)} %` : ""}`,
      );
      image = await data(client.GET("/v1/images/{imageId}", { params: { path: { imageId: image.id } } }));
    }
    if (image.state !== "Ready")
      throw new ApiError({
        code: "image_not_imported",
        field: "spec.containers",
        detail: `${reference} was not imported: ${image.message ?? image.state}`,
      });
  }
}
