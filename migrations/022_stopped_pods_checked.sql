-- Checks the constraints of the migration before, without a lock that requests wait for.
ALTER TABLE pods VALIDATE CONSTRAINT pods_phase_check;
ALTER TABLE pods VALIDATE CONSTRAINT pods_check;
