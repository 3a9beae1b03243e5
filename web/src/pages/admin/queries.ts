// SPDX-License-Identifier: Apache-2.0

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useKeys } from "../../api/queries";

/** usePlatform reads one list of the installation. It is fetched again after each change of the installation. */
export function usePlatform<T>(what: string, read: () => Promise<{ items: T[] }>) {
  const keys = useKeys();
  return useQuery({ queryKey: keys.platformPart(what), queryFn: async () => (await read()).items });
}

/** useChangedPlatform returns a function to call after a change of the installation. */
export function useChangedPlatform() {
  const keys = useKeys();
  const queries = useQueryClient();
  return () => queries.invalidateQueries({ queryKey: keys.platform });
}
