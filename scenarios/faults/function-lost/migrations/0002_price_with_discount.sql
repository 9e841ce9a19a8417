-- revision: 0002
-- revises: 0001

-- upgrade
create or replace function price(net numeric) returns numeric language sql immutable
    return net * 1.19 * 0.9;

-- downgrade
drop function price(numeric);
