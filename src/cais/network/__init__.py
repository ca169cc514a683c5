"""Network: networks by name, the addresses that containers have in them, the ports that they publish.

It owns the tables ``networks``, ``network_endpoints`` and ``network_ports``; the host's bridges that these name; one
table of nftables; and ``<root>/networks.lock``. It promises that whatever it makes is noted before it is made, and
that nothing of others is changed. It does not know what a container is: it is handed an id and a network namespace.

    store       Networks: join, leave, sweep; where to begin; leftovers: what nobody else would take away
    wishes      what is asked of ``join``, and what it returns
    records     the tables
    leases      which address a container gets
    definition  a network as it is created, checked (pure); option_names: Docker's driver options
    subnets     those that nobody has; default: that of ``bridge``
    publishing  which port of the host; reserve: whether it is free, and who has it
    bridges     bridges of the host, made and removed; firewall: the nftables text (pure); foreign: others' firewalls
    relays      ports that the kernel cannot pass on
    following   what follows a container that joins and leaves networks: its ports, its route
    name_server DNS by container names: aardvark-dns, its files in ``<root>/dns``
    parents     macvlan and ipvlan, which stand on an interface of the host
    pasta       the way out of an ordinary user's container
    conntrack   connections that the kernel remembers
    inside      what is done in a container's network namespace
    links       requests to the kernel (pure); netlink: how they are sent; programs: nft and others, run
    views       what ``inspect`` shows
    addresses   addresses and subnets (pure)
"""
