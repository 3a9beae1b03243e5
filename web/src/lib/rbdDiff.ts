// SPDX-License-Identifier: Apache-2.0

// Ceph's format "rbd diff v1", in which the content of volumes is exported and imported.

const START = "rbd diff v1\n";
const END = "e".charCodeAt(0); // the last byte of every complete file

/** isDiff reports whether a file begins as the content of a volume does. */
export async function isDiff(file: Blob): Promise<boolean> {
  return (await file.slice(0, START.length).text()) === START;
}

/** whole passes bytes on, and fails at the end if the file is not complete. */
export function whole(): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  let last: number | undefined;
  return new TransformStream({
    transform(piece, out) {
      last = piece.at(-1) ?? last;
      out.enqueue(piece);
    },
    flush() {
      if (last !== END) throw new Error("the server ended the download before everything had arrived; the file is incomplete");
    },
  });
}
