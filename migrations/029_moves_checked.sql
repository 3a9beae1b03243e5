-- In a transaction of its own, because it reads the whole table, and the locks of the last one would be held meanwhile.
ALTER TABLE pods VALIDATE CONSTRAINT pods_check;
