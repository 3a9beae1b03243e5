// SPDX-License-Identifier: Apache-2.0

import { PageHead } from "../../ui/PageHead";
import { PlatformIssuers } from "./PlatformIssuers";
import { Pools } from "./Pools";
import { SigningKeys } from "./SigningKeys";
import { VolumeClasses } from "./VolumeClasses";

/** Platform shows operators what belongs to the whole installation: pools, volume classes, OIDC issuers, and the keys that sign tokens. */
export function Platform() {
  return (
    <>
      <PageHead title="Platform" lead="What belongs to the whole installation." />
      <Pools />
      <VolumeClasses />
      <PlatformIssuers />
      <SigningKeys />
    </>
  );
}
