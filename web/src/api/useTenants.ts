// SPDX-License-Identifier: Apache-2.0

import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { client, data, type Tenant } from "./client";
import { useKeys } from "./queries";
import { useSession } from "./session";

/** useTenants lists all tenants, for operators. */
export function useTenants() {
  const session = useSession();
  const keys = useKeys();
  return useQuery({
    queryKey: keys.tenants,
    enabled: session.kind === "operator",
    queryFn: async () => {
      const all: Tenant[] = [];
      let cursor: string | undefined;
      do {
        const page = await data(client.GET("/v1/admin/tenants", { params: { query: { limit: 1000, ...(cursor ? { cursor } : {}) } } }));
        all.push(...page.items);
        cursor = page.nextCursor;
      } while (cursor);
      return all;
    },
  });
}

/** useTenantNames returns the names of tenants by their ID. It is empty for everybody but operators. */
export function useTenantNames(): Map<string, string> {
  const tenants = useTenants().data;
  return useMemo(() => new Map(tenants?.map((t) => [t.id, t.name])), [tenants]);
}
