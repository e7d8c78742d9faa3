// Command bench measures the gateway beside its peers: on one backend, one
// load and one machine, in interleaved rounds, so that what disturbs one
// contender disturbs all. It is a module of its own: what the peers need is no
// dependency of the gateway.
//
// Every contender is a process of its own and stays up for the whole run. What
// is compared is CPU time per request of the gateway's process, read from
// /proc: unlike throughput, it hardly depends on how fast the load generator,
// which shares the machine, happens to be.
package main
