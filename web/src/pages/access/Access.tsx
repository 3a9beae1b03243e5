// SPDX-License-Identifier: Apache-2.0

import { useHasRole } from "../../api/role";
import { Empty } from "../../ui/Empty";
import { PageHead } from "../../ui/PageHead";
import { Issuers } from "./Issuers";
import { ServiceAccounts } from "./ServiceAccounts";
import { Users } from "./Users";

/** Access shows who has access to the tenant, and lets an owner change it. */
export function Access() {
  const owner = useHasRole("owner");
  if (!owner)
    return (
      <Empty title="This page requires the owner role">
        <p>Ask an owner of the tenant for an API key or for the owner role.</p>
      </Empty>
    );
  return (
    <>
      <PageHead title="Access" lead="Programs sign in with API keys. People sign in with an OIDC issuer." />
      <ServiceAccounts />
      <Users />
      <Issuers />
    </>
  );
}
