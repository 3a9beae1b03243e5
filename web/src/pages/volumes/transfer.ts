// SPDX-License-Identifier: Apache-2.0

// The content of volumes as files: downloads of snapshots and uploads of new volumes. Both have Ceph's format "rbd diff v1". They take as long as
// they take, so they do not use the client of the API, which gives up.

import { ApiError, problemOf, type Snapshot } from "../../api/client";
import { currentSession } from "../../api/session";
import { isDiff, whole } from "../../lib/rbdDiff";
import { saveAs } from "../../lib/saveAs";

interface Picker {
  showSaveFilePicker?: (options: {
    suggestedName: string;
  }) => Promise<{ createWritable(): Promise<WritableStream<Uint8Array<ArrayBuffer>>> }>;
}

/** download saves the content of a snapshot as a file. Where the browser can, it writes the file while the content arrives. */
export async function download(s: Snapshot) {
  const name = `${s.name}.rbd-diff`;
  const picker = window as Picker;
  const file = await picker.showSaveFilePicker?.({ suggestedName: name });
  const answer = await send(`/v1/snapshots/${s.id}/content`, {});
  if (!answer.body) throw new Error("the server has sent nothing");
  const content = answer.body.pipeThrough(whole());
  if (file) await content.pipeTo(await file.createWritable());
  else saveAs(await new Response(content).blob(), name);
}

/** upload makes a volume with the content of a file. */
export async function upload(name: string, file: File) {
  if (!(await isDiff(file)))
    throw new ApiError({
      code: "invalid",
      detail: `${file.name} does not have the format "rbd diff v1"; "husk volume import" also reads disk images`,
    });
  const query = new URLSearchParams({ name });
  await send(`/v1/volume-imports?${query}`, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });
}

async function send(path: string, request: RequestInit): Promise<Response> {
  const token = currentSession()?.token;
  const answer = await fetch(path, { ...request, headers: { ...request.headers, Authorization: `Bearer ${token}` } });
  if (!answer.ok) throw await problemOf(answer, token);
  return answer;
}
