// SPDX-License-Identifier: Apache-2.0

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { keyOf, useSession } from "../../api/session";

export { ROLES } from "../../api/role";

/** useAccess reads one list of the page. The list is fetched again after each change of the tenant's access. */
export function useAccess<T>(what: string, read: () => Promise<{ items: T[] }>) {
  const session = useSession();
  return useQuery({ queryKey: [keyOf(session), "access", what], queryFn: async () => (await read()).items });
}

/** useChanged returns a function to call after a change of the tenant's access. */
export function useChanged() {
  const session = useSession();
  const queries = useQueryClient();
  return () => queries.invalidateQueries({ queryKey: [keyOf(session), "access"] });
}
