// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { client, data } from "./client";
import { useKeys } from "./queries";

/** useVolumeClasses lists the classes that a volume can have. */
export function useVolumeClasses() {
  const keys = useKeys();
  return useQuery({
    queryKey: keys.volumeClasses,
    queryFn: async () => (await data(client.GET("/v1/volume-classes"))).items,
  });
}
