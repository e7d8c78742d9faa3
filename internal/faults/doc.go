// Command faults shows what clients notice when backends fail: three backend
// processes behind a gateway process under steady calls, of which one is
// killed, frozen, made slow or made to answer errors, and all are restarted in
// turn. It ends with a table, and fails when a fault was not survived.
//
// The same program is the backend: it is started again with "backend ADDRESS".
package main
