/* Empty on purpose: bcc includes this name, pbmon needs nothing from it. */
