// SPDX-License-Identifier: Apache-2.0

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useKeys } from "../../api/queries";

export { ROLES } from "../../api/role";

/** useAccess reads one list of the page. The list is fetched again after each change of the tenant's access. */
export function useAccess<T>(what: string, read: () => Promise<{ items: T[] }>) {
  const keys = useKeys();
  return useQuery({ queryKey: keys.accessTo(what), queryFn: async () => (await read()).items });
}

/** useChanged returns a function to call after a change of the tenant's access. */
export function useChanged() {
  const keys = useKeys();
  const queries = useQueryClient();
  return () => queries.invalidateQueries({ queryKey: keys.access });
}
