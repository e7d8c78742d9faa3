// Package deadline bounds how long a call may take: a default for clients that
// name no deadline, and a maximum for those that ask for too much. A client's
// own, shorter deadline always holds. It must not decide what happens to a
// call that was late: the context does.
package deadline
