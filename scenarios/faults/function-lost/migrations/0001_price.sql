-- revision: 0001

-- upgrade
create function price(net numeric) returns numeric language sql immutable
    return net * 1.19;

-- downgrade
drop function price(numeric);
