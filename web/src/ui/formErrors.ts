// SPDX-License-Identifier: Apache-2.0

import { createContext, useContext } from "react";
import { ApiError } from "../api/client";

/** FormErrors is the error of the form around an input. */
export const FormErrors = createContext<unknown>(undefined);

/** useFieldError returns what the API says about a field of the form. */
export function useFieldError(field?: string): string | undefined {
  const error = useContext(FormErrors);
  if (!field || !(error instanceof ApiError) || !error.field) return undefined;
  return error.field === field || error.field.startsWith(`${field}.`) || error.field.startsWith(`${field}[`) ? error.message : undefined;
}
