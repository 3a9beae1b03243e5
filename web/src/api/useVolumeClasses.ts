// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { client, data } from "./client";
import { keyOf, useSession } from "./session";

/** useVolumeClasses lists the classes that a volume can have. */
export function useVolumeClasses() {
  const session = useSession();
  return useQuery({
    queryKey: [keyOf(session), "volume-classes"],
    queryFn: async () => (await data(client.GET("/v1/volume-classes"))).items,
  });
}
