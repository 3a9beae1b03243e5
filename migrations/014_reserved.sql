SELECT 1; -- the number of a migration that is not merged yet; its file replaces this one
