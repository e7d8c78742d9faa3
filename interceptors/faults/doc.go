// Package faults delays or fails calls whose caller asks for it, so that
// clients can be tested for a backend that does. Only principals with the
// method's scope can ask.
//
// It stands last in the chain, where a backend's failure would come from. It
// must not touch a call of anybody else.
package faults
