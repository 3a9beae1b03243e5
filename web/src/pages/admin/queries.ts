// SPDX-License-Identifier: Apache-2.0

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { keyOf, useSession } from "../../api/session";

/** usePlatform reads one list of the installation. It is fetched again after each change of the installation. */
export function usePlatform<T>(what: string, read: () => Promise<{ items: T[] }>) {
  const session = useSession();
  return useQuery({ queryKey: [keyOf(session), "platform", what], queryFn: async () => (await read()).items });
}

/** useChangedPlatform returns a function to call after a change of the installation. */
export function useChangedPlatform() {
  const session = useSession();
  const queries = useQueryClient();
  return () => queries.invalidateQueries({ queryKey: [keyOf(session), "platform"] });
}
