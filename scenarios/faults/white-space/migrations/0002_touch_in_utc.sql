-- revision: 0002
-- revises: 0001

-- upgrade
create or replace function touch() returns trigger language plpgsql as $$
begin
    new.updated_at := now() at time zone 'utc';
    return new;
end
$$;

-- downgrade
create or replace function touch() returns trigger language plpgsql as $$
begin
  new.updated_at := now();
  return new;
end
$$;
