/* vm_state.h -- what a vm is made of: shared by vm.c (the call) and vm_open.c (its state's
 * beginning and end), private to the two. */
#ifndef NAQ_RUN_VM_STATE_H
#define NAQ_RUN_VM_STATE_H

#include "run/vm.h"

/* References into a state's registry. */
typedef struct naq_refs {
    int entries, decide, attempt_class;
    int sandboxed; /* name, queue -> the entry to run in the sandbox */
    int on_queues; /* LUA_REFNIL: no queue has a policy of its own */
} naq_refs;

struct naq_vm {
    lua_State *L; /* NULL: none yet, or lost to a limit */
    naq_refs refs;
    unsigned version; /* of the code that it is made of */
    naq_vm_options o;
    const naq_vm_face *face;
    naq_limits limits;
    naq_did_what what;
};

/* What job:snooze() and job:discard() return first: light userdata of these addresses. */
extern char naq_snooze_mark, naq_discard_mark;

/* A state that cannot be used again. */
void naq_vm_drop(naq_vm *vm);

#endif
