// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { client, data, type Schemas } from "./client";
import { useKeys } from "./queries";

type Config = Schemas["Config"];

/** useConfigs lists the tenant's configs and secrets, without their values. */
export function useConfigs() {
  const keys = useKeys();
  return useQuery({
    queryKey: keys.configs,
    queryFn: async () => {
      const all: Config[] = [];
      for (let cursor: string | undefined; ; ) {
        const page = await data(client.GET("/v1/configs", { params: { query: { limit: 1000, cursor } } }));
        all.push(...page.items);
        cursor = page.nextCursor;
        if (!cursor) return all;
      }
    },
    refetchInterval: 15_000,
  });
}
